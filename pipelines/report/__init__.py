"""The page: the warehouse's published numbers as one HTML file, which needs no server and no network.

Nothing is counted here. What the page shows is a row of rpt_metrics or of another view (`tables.py`), chosen and drawn.
The browser draws it with Vega-Lite, which the extra `report` brings.
"""
