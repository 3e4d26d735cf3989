-- What a run came to, in one line that a program reads. Loaded by the other scripts of this folder.

-- Prints answers a second, p50, p99, p99.9 and the longest in milliseconds, how many answers, and how many failed; `refused` is
-- what the script found wrong beside what wrk counts.
return function(summary, latency, refused)
   local errors = summary.errors
   io.write(string.format("RESULT %.3f %.3f %.3f %.3f %.3f %d %d\n",
      summary.requests / (summary.duration / 1e6),
      latency:percentile(50) / 1e3,
      latency:percentile(99) / 1e3,
      latency:percentile(99.9) / 1e3,
      latency.max / 1e3,
      summary.requests,
      errors.status + errors.connect + errors.read + errors.write + errors.timeout + refused))
end
