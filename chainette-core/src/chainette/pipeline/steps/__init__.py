"""What a step is made of: its prompts, and how many answers it takes."""
