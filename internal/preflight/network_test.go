package preflight

import (
	"errors"
	"testing"
)

func TestExternalNetworkHasToExist(t *testing.T) {
	w := newFakeHost(t)
	w.networks["proxy"] = jsonObject{"name": "front", "external": true}
	w.networks["unused"] = jsonObject{"name": "nobody", "external": true}
	w.service("app")["networks"] = jsonObject{"web": nil, "proxy": nil}
	w.dockerOutputs["network ls"] = "0123 bridge\n4567 shop_web\n"
	expectFinding(t, w.newCheck(t).Run(t.Context()), "network", Error, "the external network front of app does not exist", "docker network create front")

	w.dockerOutputs["network ls"] = "0123 bridge\n4567 front\n"
	all := w.newCheck(t).Run(t.Context())
	expectFinding(t, all, "network", OK, "all external networks exist (networks: 1)", "")
	expectNoProblems(t, all)

	w.networks["proxy"] = jsonObject{"name": "4567", "external": true} // Compose accepts an ID, too
	expectNoProblems(t, w.newCheck(t).Run(t.Context()))

	w.dockerErrors["network ls"] = errors.New("permission denied")
	expectFinding(t, w.newCheck(t).Run(t.Context()), "network", Warning, "networks can't be listed: permission denied", "docker network ls")
}
