"""HTTP/1.1 on a socket of asyncio: what requests mean is for a site to say."""
