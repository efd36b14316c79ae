"""The API's resources: the calls, and the models they return."""
