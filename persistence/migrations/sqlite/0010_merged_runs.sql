-- Small runs become large ones.

-- The newest run is small, so that a batch changes few pages; so are the ones before it, until they are merged: a lookup asks each run. Then the
-- lookups of the runs first_run .. last_run are copied under the number run, that run takes their place in runs, and their rows are
-- removed. Rows of a run that is not in runs are none of anybody's.
CREATE TABLE merges (
    run INTEGER PRIMARY KEY,         -- what they become
    first_run INTEGER NOT NULL,
    last_run INTEGER NOT NULL,
    done INTEGER NOT NULL            -- how many stages of it are done
) STRICT;
