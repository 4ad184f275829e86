//go:build !invariants

package invariants

// Enabled is false without the build tag invariants.
const Enabled = false
