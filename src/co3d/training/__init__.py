"""Training and fine-tuning from one recipe: clips, or streams through the step program."""
