"""Ways to addresses that are not here: seam 2, `core.route.Route`."""
