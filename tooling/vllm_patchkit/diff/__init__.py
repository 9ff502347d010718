"""Git diffs as values: parse, format, apply, reverse. No I/O."""
