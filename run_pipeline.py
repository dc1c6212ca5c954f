"""The door: arguments -> settings -> one recipe -> report -> exit status."""
