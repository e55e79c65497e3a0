"""The command line: `main` names the commands, each lives in a module of its own and is imported when it is run."""
