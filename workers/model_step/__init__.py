"""One model call and what is done around it: reply, summaries, names."""
