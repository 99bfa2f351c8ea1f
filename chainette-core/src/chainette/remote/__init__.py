"""Files in buckets and on servers, through fsspec."""
