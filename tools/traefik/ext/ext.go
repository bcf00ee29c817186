// Package ext has the types by which Traefik's configuration can be extended. Traefik's module refers to a package of its repository that the module
// proxy does not have; these have no fields.
package ext

// HTTP extends the configuration of HTTP.
type HTTP struct{}

// DeepCopyInto copies e to out.
func (e *HTTP) DeepCopyInto(out *HTTP) { *out = *e }

// Router extends the configuration of a router.
type Router struct{}

// DeepCopyInto copies r to out.
func (r *Router) DeepCopyInto(out *Router) { *out = *r }
