"""How a sandbox, a plan and a report look in a notebook and on a terminal."""
