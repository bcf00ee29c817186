package preflight

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
)

// checkFromEdge has the running edge check what only it can see: what the guard lets through, and whether certificates are kept.
func (c *Check) checkFromEdge(ctx context.Context, s *stack) []Finding {
	if !s.hasEngine {
		return nil
	}
	const hint = "run edge check again when the stack is up"
	out, _, err := c.Docker.Run(ctx, c.Project.Args("ps", "--quiet", "--status", "running", c.Edge)...)
	if err != nil || trimmed(out) == "" {
		return []Finding{warningFinding("edge", hint, "it doesn't run, so that the guard and the storage were not tried")}
	}
	out, _, failed := c.Docker.Run(ctx, c.Project.Args("exec", "-T", c.Edge, "edge", "check", "--inside", "--json")...)
	var report Report
	if err := json.Unmarshal([]byte(out), &report); err != nil || len(report.Findings) == 0 {
		return []Finding{warningFinding("edge", "is it of an older version? "+hint, "the one that runs could not try the guard and the storage: %v", errors.Join(failed, err))}
	}
	return slices.DeleteFunc(report.Findings, func(f Finding) bool { return f.Check == "clock" && f.Level == OK }) // it is this machine's
}
