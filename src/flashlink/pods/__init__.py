"""The pod: what was asked, parsed and typed; interLink's wire objects; the pod's status."""
