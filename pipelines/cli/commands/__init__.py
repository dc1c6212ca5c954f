"""The commands: arguments in, one recipe, its result printed, an exit status out. One module a family."""
