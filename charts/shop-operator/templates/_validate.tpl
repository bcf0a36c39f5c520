{{/* What a schema cannot say. Everything that is wrong is reported at once. */}}
{{- define "shop-operator.validate" -}}
{{- $problems := list -}}
{{- if and (gt (int .Values.replicas) 1) (not .Values.leaderElection.enabled) -}}
{{- $problems = append $problems "leaderElection.enabled must be true when replicas is above 1: two leaders would undo each other's work" -}}
{{- end -}}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) -}}
{{- $problems = append $problems "serviceAccount.name must be given when serviceAccount.create is false" -}}
{{- end -}}
{{- if $problems -}}
{{- fail (printf "\n- %s" (join "\n- " $problems)) -}}
{{- end -}}
{{- end -}}
