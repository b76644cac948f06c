"""The commands, a file each: they parse, call and print. Heavy imports happen inside the function."""
