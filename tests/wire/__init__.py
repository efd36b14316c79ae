"""The pure part between the wire and Python: by table and by property, without a loop or a socket."""
