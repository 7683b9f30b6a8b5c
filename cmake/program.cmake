# The program, the library and what is installed; see the rooms in src/app.
