"""From finished runs to what people read: statistics, tables, pictures."""
