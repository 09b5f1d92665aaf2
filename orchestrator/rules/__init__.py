"""Pure rules that decide the next action of a run or a call."""
