"""The API's resources: the calls, and the models that they give."""
