"""Batch ETL of OneSchema embed events: poll, flatten, model, publish.

`assets/` declares what Dagster shows; everything that does the work is here.
"""

import os

# Polars' allocator, jemalloc, gives memory back half a second after its last use. Days that are flattened one after
# another then take it from the system again, page by page, for an eighth of their CPU time. Ten seconds is jemalloc's
# own default. It reads this once, when Polars is imported. An operator's own value stays.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:10000")
