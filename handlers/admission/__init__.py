"""What the API server asks before it stores an object of ours: is it good, and what does it leave unsaid?

Here belong: the answers (pure), the certificate that the API server trusts, and the HTTPS server that it calls. What is
good is said in `handlers/api` and nowhere else. Only a handlers process with the role `admission` imports this package,
and the command line for what it renders.
"""
