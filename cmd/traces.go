package cmd

import (
	"os"
	"strings"
)

// IdentifyInTraces adds the container to the resource of traces (service.instance.id), so that the spans of two edges can be distinguished, unless the environment has it.
func IdentifyInTraces() {
	const name, attribute = "OTEL_RESOURCE_ATTRIBUTES", "service.instance.id="
	host, err := os.Hostname()
	attributes := os.Getenv(name)
	if err != nil || strings.Contains(attributes, attribute) {
		return
	}
	_ = os.Setenv(name, strings.Trim(attributes+","+attribute+host, ",")) // the name is valid
}
