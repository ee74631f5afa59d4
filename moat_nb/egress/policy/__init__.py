"""What may be asked for, as a pure decision."""
