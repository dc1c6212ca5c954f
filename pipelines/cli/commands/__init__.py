"""The commands: arguments in, one recipe, what it found printed, an exit status out. One module a family."""
