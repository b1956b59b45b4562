"""Where answers come from: engines, the loop that keeps one busy, and the store of its answers."""
