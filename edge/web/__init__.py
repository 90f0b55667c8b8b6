"""The phone: a static page that runs the same model in a browser, and `python -m edge.web`."""
