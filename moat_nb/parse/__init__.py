"""From the text of a moat.yaml to a Config, with the place of whatever is wrong in it."""
