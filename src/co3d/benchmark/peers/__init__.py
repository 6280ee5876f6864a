"""The same networks built with other libraries."""
