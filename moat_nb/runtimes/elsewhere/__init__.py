"""bubblewrap on another machine, which ssh leads to: our program there, and this end of it."""
