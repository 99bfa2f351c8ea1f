"""The tables of a run as Arrow data, and as data frames of other libraries."""
