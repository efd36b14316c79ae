"""aiohttp client middlewares: what happens to each attempt at a request."""
