"""A door as a start makes it."""

from moat_nb.host.ports.options import Door

DOOR = Door(name="web", host="web.p-0123abcd.localhost", port=45678, inside=3000)
