"""The cost of requests, by the reports in their answers and by prices."""
