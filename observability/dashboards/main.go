// Command dashboards writes the dashboards of compose.observability.yaml: go run ./observability/dashboards
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// output is where Grafana's provisioning has them, from the top of the repository.
const output = "observability/grafana/dashboards"

func main() {
	for _, b := range boards() {
		text, err := b.json()
		if err == nil {
			err = os.WriteFile(filepath.Join(output, b.file()), text, 0o644)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", b.title, err)
			os.Exit(1)
		}
	}
}

func boards() []board {
	return []board{stack(), deploys(), certificates(), webSockets(), data(), host()}
}
