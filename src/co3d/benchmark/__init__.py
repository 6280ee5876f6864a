"""Speed of step programs, of the clip networks they come from, and of other libraries."""
