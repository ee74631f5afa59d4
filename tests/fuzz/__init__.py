"""Host code that reads what a sandbox wrote, on any input: `make fuzz`, and for a moment each in
`make test`."""
