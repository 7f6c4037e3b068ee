"""What becomes of a ModelInfer: its groups, roles and Pods, from one template to the next.

Here belong: which Pods there shall be (`places`, `templates`), which come and go (`balance`, `census`), how they leave
(`drain`), what is made anew when something failed (`recovery`), and what the status says of it. Pure: values in, values
out. The one that puts a Plan together is `reconcile.modelinfer`.
"""
