// Package packages looks into what `make packages` builds, and holds the files of deploy/ that
// install Poise against the program: the unit, the image, the chart. Its only code is tests.
package packages
