"""Programs that run in a pod: their text goes there as an argument, and nothing imports them."""
