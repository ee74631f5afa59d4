"""From a Config to what is started, as pure values."""
