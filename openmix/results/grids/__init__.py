"""A study: many configs of one base, laid out, run as a queue, and read as a table. docs/grids.md."""
