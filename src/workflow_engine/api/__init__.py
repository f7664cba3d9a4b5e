"""The HTTP API: requests in, calls of the store, JSON out. Decisions about states are Postgres' alone.

`app` puts it together. A request meets `envelope` (what every answer has), its route in `routes/` (one file per noun),
`parameters` and `bodies` (strict reading), and on the way out `views` (the shape of each thing) or `problems` (errors).
"""
