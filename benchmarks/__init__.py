"""`make bench`: one file per question, all answered on one page.

`contest` runs contestants and compares them, `data` makes what they work on, `page` lists the questions and prints
their answers. Nothing here is imported by the pipeline, and no module imports more than the standard library before
its work begins: some contestants run in a virtual environment that has nothing else.
"""
