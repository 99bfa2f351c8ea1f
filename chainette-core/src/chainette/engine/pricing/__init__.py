"""What requests cost, by what their answers report and by prices."""
