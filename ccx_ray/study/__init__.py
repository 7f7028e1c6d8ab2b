"""What a study is: its spec, its graph of steps, and what proves where a result came from."""
