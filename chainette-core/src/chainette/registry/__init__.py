"""The engines that are registered."""
